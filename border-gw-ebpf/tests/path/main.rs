//! The packet path in a small world, in tables: a sentence, a packet in, a verdict, a packet out.
#![expect(clippy::unwrap_used, reason = "a test that fails here fails")]
#![expect(clippy::too_many_lines, reason = "a table is as long as it has rows")]

#[path = "../support/mod.rs"]
mod support;

mod answers;
mod attacks;
mod caps;
mod dscp;
mod errors;
mod fabric;
mod flows;
mod host;
mod limits;
mod line;
mod mss;
mod notes;
mod options;
mod precedence;
mod properties;
mod punts;
mod silence;
mod sources;
mod too_big;
mod witness;
