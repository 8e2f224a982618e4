"""What is measured: a module each, with `measure(context)`, which yields rows."""
