//! What a run shows: pure, from the line by which each numbered datagram came.

use std::collections::BTreeSet;
use std::ops::Range;

/// Something that happened to a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// How many datagrams had been sent.
    pub(super) at: usize,
    /// The line.
    pub(super) line: u8,
}

/// Datagrams by number, each with the line that it came by, if it came.
pub(super) struct Observed {
    /// The lines.
    pub(super) lines: Vec<Option<u8>>,
    /// Number of flows; datagrams are sent by each in turn.
    pub(super) flows: usize,
    /// Datagrams a millisecond, of all flows.
    pub(super) per_ms: f64,
}

/// What it comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Judgement {
    /// For each event: how long the flows of the line were away, in milliseconds.
    pub(super) outages_ms: Vec<f64>,
    /// Events whose line had no flows, or had them still when the lines came back.
    pub(super) without_effect: usize,
    /// Datagrams lost of flows that no event concerns, and of the others before the first event.
    pub(super) lost_of_others: usize,
    /// Flows of surviving lines that used another line.
    pub(super) moved: usize,
    /// Datagrams lost after everything had come back.
    pub(super) lost_after_return: usize,
}

impl Observed {
    /// Judges a run with events in their order of time, and the number of datagrams sent when the lines came back.
    pub(super) fn judge(&self, events: &[Event], returned: usize) -> Judgement {
        let mut concerned = BTreeSet::new();
        let mut judgement = Judgement::default();
        for (number, event) in events.iter().enumerate() {
            let of_line: BTreeSet<_> = (0..self.flows)
                .filter(|flow| self.line_before(*flow, event.at) == Some(event.line))
                .collect();
            let end = events.get(number + 1).map_or(returned, |next| next.at);
            let lost = self.lost(event.at..end, |flow| of_line.contains(&flow));
            let per_ms = self.per_ms * of_line.len() as f64 / self.flows as f64;
            judgement.outages_ms.push(if of_line.is_empty() { 0.0 } else { lost as f64 / per_ms });
            let stays = |flow: &usize| self.line_before(*flow, returned) == Some(event.line);
            if of_line.is_empty() || (0..self.flows).any(|flow| stays(&flow)) {
                judgement.without_effect += 1;
            }
            concerned.extend(of_line);
        }
        let first = events.first().map_or(self.lines.len(), |event| event.at);
        judgement.lost_of_others = self.lost(0..self.lines.len(), |flow| !concerned.contains(&flow))
            + self.lost(0..first, |flow| concerned.contains(&flow));
        judgement.moved = (0..self.flows)
            .filter(|flow| !concerned.contains(flow))
            .filter(|flow| {
                self.of_flow(*flow, 0..self.lines.len()).flatten().collect::<BTreeSet<_>>().len() > 1
            })
            .count();
        judgement.lost_after_return =
            self.lost(returned.min(self.lines.len())..self.lines.len(), |flow| concerned.contains(&flow));
        judgement
    }

    /// Datagrams lost altogether.
    pub(super) fn all_lost(&self) -> usize {
        self.lost(0..self.lines.len(), |_any| true)
    }

    fn lost(&self, numbers: Range<usize>, of: impl Fn(usize) -> bool) -> usize {
        numbers.filter(|number| self.lines[*number].is_none() && of(number % self.flows)).count()
    }

    /// What became of the datagrams of a flow.
    fn of_flow(&self, flow: usize, numbers: Range<usize>) -> impl DoubleEndedIterator<Item = Option<u8>> {
        let first = numbers.start + (flow + self.flows - numbers.start % self.flows) % self.flows;
        (first..numbers.end.max(first)).step_by(self.flows).map(|number| self.lines[number])
    }

    /// The line that a flow used last before a number.
    fn line_before(&self, flow: usize, number: usize) -> Option<u8> {
        self.of_flow(flow, 0..number).rev().flatten().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four flows, one packet a millisecond: two on each of two lines.
    fn run(change: impl Fn(usize, &mut Option<u8>)) -> Observed {
        let mut lines: Vec<_> = (0..400).map(|number| Some((number % 2) as u8)).collect();
        for (number, line) in lines.iter_mut().enumerate() {
            change(number, line);
        }
        Observed { lines, flows: 4, per_ms: 1.0 }
    }

    const CUT: [Event; 1] = [Event { at: 100, line: 0 }];

    #[test]
    fn without_an_event_nothing_is_lost_and_nothing_moves() {
        let judgement = run(|_, _| ()).judge(&[], 400);
        assert_eq!(judgement, Judgement::default());
    }

    #[test]
    fn an_outage_is_that_of_the_flows_of_the_line() {
        // Ten numbers, of which every other is of the line: 10 ms.
        let observed = run(|number, line| match number {
            100..110 if number % 2 == 0 => *line = None,
            110..300 => *line = Some(1),
            _ => {}
        });
        let want = Judgement { outages_ms: vec![10.0], ..Judgement::default() };
        assert_eq!(observed.judge(&CUT, 300), want);
        assert_eq!(observed.all_lost(), 5);
    }

    #[test]
    fn what_is_lost_or_moved_elsewhere_is_told_apart() {
        let observed = run(|number, line| match number {
            // A flow of the line before; one that survives; and the line after its return.
            50 | 101 | 302 => *line = None,
            100..300 if number % 4 == 3 => *line = Some(2),
            100..300 => *line = Some(1),
            _ => {}
        });
        let want = Judgement {
            outages_ms: vec![0.0],
            lost_of_others: 2,
            moved: 1,
            lost_after_return: 1,
            ..Judgement::default()
        };
        assert_eq!(observed.judge(&CUT, 300), want);
    }

    #[test]
    fn an_event_that_nothing_follows_is_told() {
        assert_eq!(run(|_, _| ()).judge(&CUT, 300).without_effect, 1, "its flows stay");
        assert_eq!(run(|_, line| *line = Some(1)).judge(&CUT, 300).without_effect, 1, "it had none");
    }

    #[test]
    fn the_second_event_concerns_what_the_first_moved() {
        let observed = run(|number, line| match number {
            150..160 => *line = None,
            100..150 => *line = Some(1),
            160..300 => *line = Some(2),
            _ => {}
        });
        let events = [Event { at: 100, line: 0 }, Event { at: 150, line: 1 }];
        let judgement = observed.judge(&events, 300);
        assert_eq!((judgement.outages_ms, judgement.lost_of_others), (vec![0.0, 10.0], 0));
    }
}
