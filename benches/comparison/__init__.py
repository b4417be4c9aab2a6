"""What `benches/compare` is made of: servers, scenarios, measurements, and the report."""
