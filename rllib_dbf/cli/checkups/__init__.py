"""What `rllib doctor` looks at, one module per subject; none imports anything heavy."""
