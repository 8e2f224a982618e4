"""What `benchmarks/accelerator.py` consists of.

`command` reads the command line, `running` goes through the `plan`, `asking` has each
of its `parts` measured in a process that `serving` runs, `pages` writes down what came
back. Sizes are in `scales`, clocks in `measuring`.
"""
