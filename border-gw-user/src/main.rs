//! The `border-gw` command.

fn main() {}
