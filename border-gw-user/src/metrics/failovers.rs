//! How long failovers took, as histograms that the state holds already.

use prometheus::core::{Collector, Desc};
use prometheus::proto::{self, MetricFamily, MetricType};

use super::{Error, Page};
use crate::failover::{BOUNDS, Histogram};
use crate::state::State;

/// One family of one histogram a stage.
struct Stages {
    desc: Desc,
    stages: Vec<(&'static str, Histogram)>,
}

impl Collector for Stages {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let metrics = self.stages.iter().map(|(stage, histogram)| metric(stage, histogram));
        let mut family = MetricFamily::default();
        family.set_name(self.desc.fq_name.clone());
        family.set_help(self.desc.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(metrics.collect());
        vec![family]
    }
}

fn metric(stage: &str, histogram: &Histogram) -> proto::Metric {
    let buckets = BOUNDS.iter().zip(histogram.buckets).map(|(bound, count)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut values = proto::Histogram::default();
    values.set_bucket(buckets.collect());
    values.set_sample_count(histogram.count);
    values.set_sample_sum(histogram.sum);
    let mut label = proto::LabelPair::default();
    label.set_name("stage".to_owned());
    label.set_value(stage.to_owned());
    let mut metric = proto::Metric::default();
    metric.set_label(vec![label]);
    metric.set_histogram(values);
    metric
}

/// From the detection of a dead line until its flows have another way, and until no route leads over it.
pub(super) fn failovers(page: &Page, state: &State) -> Result<(), Error> {
    let desc = Desc::new(
        "border_gw_failover_seconds".to_owned(),
        "From the detection of a dead line until no packet goes there (rerouted), and no route leads there (converged)."
            .to_owned(),
        vec!["stage".to_owned()],
        std::collections::HashMap::new(),
    )?;
    let failovers = &state.failovers;
    let stages = vec![("rerouted", failovers.rerouted.clone()), ("converged", failovers.converged.clone())];
    page.0.register(Box::new(Stages { desc, stages }))?;
    Ok(())
}
