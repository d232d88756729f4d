//! From a merged document to an intent: what single values cannot show, every error at once.

mod addresses;
mod attachments;
mod capacity;
mod names;
mod ports;
mod routing;

use super::diagnostic::{Place, Report};
use super::document::{Document, Fabric};

/// Reports all that is wrong between the values of a document.
pub(super) fn check(report: &mut Report, document: &Document) {
    // All that belongs to the server as a whole is reported where its file begins.
    let whole = Place { file: 0, line: 0, column: 0 };
    names::check(report, document, whole);
    ports::check(report, document);
    for gateway in &document.border_gateways {
        addresses::check(report, gateway);
        routing::check(report, gateway);
    }
    attachments::check(report, document);
    capacity::check(report, document, whole);
}

/// The sections `fabric` that could be read; there should be one.
fn fabrics(document: &Document) -> impl Iterator<Item = &Fabric> {
    document.fabrics.iter().filter_map(|fabric| fabric.value.as_ref())
}
