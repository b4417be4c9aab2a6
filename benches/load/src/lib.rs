//! A load generator for WebSocket broadcast servers: one thread that verifies every delivery, and
//! counts what the server has used by it. See README.md.

pub mod clients;
pub mod clock;
pub mod connect;
pub mod failure;
pub mod fault;
pub mod frame;
pub mod opening;
pub mod options;
pub mod payload;
pub mod process;
pub mod report;
pub mod scenario;
pub mod talk;
pub mod tally;
pub mod verify;
