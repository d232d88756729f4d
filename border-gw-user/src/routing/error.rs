//! What can go wrong with BIRD.

use std::io;

use super::control::ControlError;

/// One sentence each, for an operator. No text has a key in it.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// It is not installed.
    #[error(
        "cannot find the program `bird`, which speaks BGP and BFD for border gateway `{0}`: install BIRD 2 (Debian: `apt-get install bird2`, and `systemctl disable --now bird`), or use `routing: external`; static routes are forwarded without it"
    )]
    Missing(String),
    /// A file or a process.
    #[error("cannot {what} BIRD of border gateway `{border_gateway}`: {cause}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Whose BIRD.
        border_gateway: String,
        /// Why not.
        cause: io::Error,
    },
    /// It cannot read what was written for it; what ran goes on.
    #[error(
        "BIRD of border gateway `{border_gateway}` refuses its configuration, and goes on with the one before: {said}"
    )]
    Invalid {
        /// Whose BIRD.
        border_gateway: String,
        /// What it says.
        said: String,
    },
    /// It does not start, or ended at once.
    #[error("BIRD of border gateway `{border_gateway}` does not run: {said}")]
    Dead {
        /// Whose BIRD.
        border_gateway: String,
        /// What it says.
        said: String,
    },
    /// It runs, and does not do what it was asked to.
    #[error("BIRD of border gateway `{border_gateway}` cannot {what}: {cause}")]
    Control {
        /// What was asked.
        what: &'static str,
        /// Whose BIRD.
        border_gateway: String,
        /// Why not.
        cause: ControlError,
    },
    /// No such session.
    #[error("virtual interface `{0}` has no BGP session")]
    NoSession(String),
}
