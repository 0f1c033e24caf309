"""What this package costs, beside the best programs for the same work: `python -m benchmarks`.

    server.py       the CCA server of all rows: the simulator, as a process of its own
    processes.py    run one side in a process of its own; its seconds, CPU and memory
    ours.py         our side: what runs in that process
    yardsticks.py   the other side, where that is Python
    table.py        a line of the table, and its rendering
    bench.py        what all rows share: sizes, repetitions, the S3 server, a folder
    rows/           the rows, each a function that measures and yields lines
    growth.py       how the cost grows, as a plot

Both sides of a row run against the same server, in turn, and what is compared are medians.
"""
