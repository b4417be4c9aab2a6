//! What has happened, in numbers that Prometheus reads: a histogram, and the page that it is on.
//!
//! This ring knows nothing else of ours. What is counted, and what it is called, is the business of
//! those who count: [`hub`](crate::hub), and the backplane.

mod histogram;
mod page;

pub use histogram::Histogram;
pub(crate) use page::{Kind, Page};
