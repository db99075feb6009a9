"""A page in the browser for what runs write: runs, studies, reconstructions, a plan's explorer.

`folder`, `runs`, `trials`, `iterations`, `explorer` read files and compute, and know nothing of the page; `views` draw.
"""
