//! End-to-end tests of the fleet. The tests themselves are in `fleet/`.
