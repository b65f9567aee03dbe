"""What runs on NVIDIA, proven on NVIDIA: a folder is prepared, and a bare machine runs it.

`__main__` is the command line, `prepare` makes the folder, `runner` runs the parts in their order,
each in a process of its own. `parts` lists them.
"""
