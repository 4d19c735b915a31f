"""What ``import concord`` offers beside classes: one function for each thing that the command line does.

Here runs, studies and reports are joined, because none of these rooms may look up to the next.
"""
