"""Prepares a data set: reads a release, writes one record a radiograph, and reports what it found.

    python -m ramjax.prepare --dataset=ram_h1200 --source=RAM-H1200-v1 --data_dir=data

Data sets: ram_h1200 (whole hands); ram_w600/joint (wrists with bones and scores, splits by patient), ram_w600/bones and
ram_w600/scores (one level in its official splits); ram_phantom/small, /full, /tiny (synthetic hands, which training
prepares by itself); radiographs (a folder of radiographs without labels). Without --source the release is looked for in
DATA_DIR/downloads/manual. If it is not there, it is downloaded into DATA_DIR/downloads; an interrupted download
continues.

At the end a table is printed: found [published], and all defects. The same report is stored with the data as
metadata.json. A deviation is a warning. A cell, box or score that cannot be right, or that another one contradicts, is
left out and listed among the defects. What cannot be trusted (a damaged image or mask, an unknown score or category,
sizes that differ, boxes in another unit) is an error that names the file and the key, and nothing half-written stays.

Exit codes: 0 done, 1 an error that the last line names, 2 wrong usage, 130 interrupted: start the same command again.

Research use only, not a medical device.
"""

import sys

from absl import flags

from ramjax import command_line


def define(values: flags.FlagValues) -> None:
    define = {"flag_values": values}
    flags.DEFINE_string("dataset", None, "Data set, with its config where it has several: ram_w600/joint.", **define)
    command_line.define_path("source", None, "Folder that holds the release.", **define)
    command_line.define_path(
        "data_dir", "data", "Folder of prepared data sets, as data.data_dir of experiments.", **define
    )


def act(values: flags.FlagValues) -> None:
    from ramjax.data.prepare import prepare  # after the flags: a wrong one should not take seconds to say

    prepare(values.dataset, values.data_dir, values.source)


main = command_line.command(
    "python -m ramjax.prepare",
    __doc__,
    define,
    act,
    check=lambda values: command_line.needs(values, "dataset"),
    interrupted="Interrupted; nothing half-written stays. Start the same command again.",
)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
