//! The packet path in a small world, in tables: a sentence, a packet in, a verdict, a packet out.

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod caps;
mod fabric;
mod flows;
mod host;
mod line;
mod precedence;
mod properties;
mod punts;
