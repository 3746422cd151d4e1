"""What is shown, made from what is known: pure functions, with no I/O."""
