"""The patient's sex and age, from the image."""

import dataclasses
from typing import ClassVar

from ramjax.config import PatientConfig
from ramjax.record import Record
from ramjax.tasks.image import Classes, ImageTask, Number

SEXES = ("F", "M")


def _sex(record: Record) -> int:
    return SEXES.index(record.sex) if record.sex in SEXES else -1


def _age(record: Record) -> float:
    return record.age


@dataclasses.dataclass(frozen=True)
class Patient(ImageTask):
    """The patient task: sex (``O`` counts as unknown) and age in years, from the record's metadata."""

    config: PatientConfig = dataclasses.field(default_factory=PatientConfig)
    name = "patient"
    targets: ClassVar = {
        "sex": Classes(SEXES, _sex, "Sex"),
        "age": Number("years", _age, "Age", usual=55.0, spread=15.0),
    }
