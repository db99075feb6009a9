"""JSON schemas: up to date, named by the files, and of one mind with the models."""

import copy
import json
import os
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
from jsonschema import Draft202012Validator

from ptydesign import kinds
from ptydesign.cli import main
from ptydesign.config import build, read_yaml
from ptydesign.errors import InputError
from ptydesign.planning.load import TEMPLATE
from ptydesign.study.file import DEFAULT_KIND, build_study
from ptydesign.study.keys import OTHERS
from ptydesign.study.schema import COMMENT, naming_schema, schema_path, schema_text

ROOT = Path(__file__).parents[2]
MODELS = {
    **{kind: kinds.find_kind(kind).model for kind in kinds.KINDS},
    **{name: item[0] for name, item in OTHERS.items()},
}
SHIPPED = [
    *ROOT.glob("studies/*/study.yaml"),
    *ROOT.glob("docs/*/*.yaml"),
    *ROOT.glob("docs/results/*/*.yaml"),
    TEMPLATE,
]


@pytest.fixture(scope="module")
def validators() -> dict[str, Draft202012Validator]:
    return {kind: Draft202012Validator(json.loads(schema_text(kind, model))) for kind, model in MODELS.items()}


def kind_of(path: Path) -> str:
    """The kind whose schema a file names in its first line."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert first.startswith(COMMENT), path
    return Path(first.removeprefix(COMMENT)).stem


def content_of(path: Path) -> dict:
    return json.loads(json.dumps(read_yaml(path)))


@pytest.mark.parametrize("kind", MODELS)
def test_schemas_are_up_to_date_and_valid(kind, validators, capsys):
    option = "" if kind == DEFAULT_KIND else f" --kind {kind}"
    text = schema_path(kind).read_text(encoding="utf-8")
    assert text == schema_text(kind, MODELS[kind]), f"run: ptydesign keys{option} --schema > {schema_path(kind)}"
    Draft202012Validator.check_schema(json.loads(text))
    assert json.loads(text)["$schema"].endswith("2020-12/schema")
    assert main(["keys", "--kind", kind, "--schema"]) == 0
    assert capsys.readouterr().out == text


def test_there_is_no_schema_of_what_is_no_kind():
    assert {path.stem for path in schema_path("planning").parent.iterdir()} == set(MODELS)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: os.path.relpath(path, ROOT))
def test_shipped_files_name_their_schema_and_are_valid(path, validators):
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    named = Path(os.path.normpath(path.parent / first.removeprefix(COMMENT)))
    assert named.is_file()
    assert named == schema_path(kind_of(path))
    content = content_of(path)
    if kind_of(path) in kinds.KINDS:
        assert content.get("kind", DEFAULT_KIND) == kind_of(path)
    errors = [
        f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in validators[kind_of(path)].iter_errors(content)
    ]
    assert not errors


def test_all_kinds_have_a_shipped_file():
    assert {kind_of(path) for path in SHIPPED} == set(MODELS)


def model_takes(kind: str, content: dict) -> bool:
    """Whether the models take a file's content at every scale that it names."""
    content = copy.deepcopy(content)
    try:
        if kind in OTHERS:
            build(MODELS[kind], content, "file")
        elif content.pop("kind", DEFAULT_KIND) != kind:
            return False
        else:
            build_study(content, "file", "name", "preview", MODELS[kind])
    except InputError:
        return False
    return True


def changed(content: dict, path: str, value: object) -> dict:
    """Content with a value at a path; without what is there, for a value of ... ."""
    content = copy.deepcopy(content)
    *parents, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    inside = content
    for part in parents:
        inside = inside.setdefault(part, {}) if isinstance(inside, dict) else inside[part]
    if value is ...:
        del inside[last]
    else:
        inside[last] = value
    return content


LOWDOSE, TUNING = ROOT / "studies/lowdose/study.yaml", ROOT / "studies/reconparams/study.yaml"
DEPTH, PLAN = ROOT / "studies/depth/study.yaml", ROOT / "docs/results/siemens_star/plan.yaml"
CALIBRATION = ROOT / "docs/results/siemens_star/calibration.yaml"

REFUSED = [
    (LOWDOSE, "sed", 1),
    (LOWDOSE, "study", "lowdose"),
    (LOWDOSE, "scale", "paper"),
    (LOWDOSE, "kind", "depth"),
    (LOWDOSE, "title", ...),
    (LOWDOSE, "experiment/step_nm", 0.1),
    (LOWDOSE, "experiment/step_a", ...),
    (LOWDOSE, "experiment/step_a", "2 A"),
    (LOWDOSE, "experiment/semiangle_mrad", 201),
    (LOWDOSE, "experiment/voltage_kv", True),
    (LOWDOSE, "experiment/field_of_view_a", [24]),
    (LOWDOSE, "sample/kind", "trilayer"),
    (LOWDOSE, "sample/kind", ...),
    (LOWDOSE, "sample/zone_axis", [0, 0, 1]),
    (LOWDOSE, "space/step_b", {"low": 1, "high": 2}),
    (LOWDOSE, "space/step_a/log", True),
    (LOWDOSE, "reference/step_b", 2),
    (LOWDOSE, "reference/field_of_view_a", [24, 24]),
    (LOWDOSE, "map/x/name", "step_b"),
    (LOWDOSE, "map/at/step_b", 1),
    (LOWDOSE, "search/liar", "cl_most"),
    (LOWDOSE, "search/kernel/nu", 2),
    (LOWDOSE, "potential/thermal", "some"),
    (LOWDOSE, "reconstruction/engines/0/engine", "lsq"),
    (LOWDOSE, "reconstruction/engines/0/rule", "adam"),
    (LOWDOSE, "reconstruction/engines/0/object_step", {"schedule": "cosine", "begin": 1}),
    (LOWDOSE, "reconstruction/engines/0/sweeps", {"schedule": "constant", "start": 1}),
    (LOWDOSE, "scales/big", {}),
    (LOWDOSE, "scales/smoke/sed", 1),
    (LOWDOSE, "scales/smoke/kind", "experiment"),
    (LOWDOSE, "scales/smoke/experiment/step_nm", 1),
    (LOWDOSE, "scales/smoke/search/initial", 0),
    (LOWDOSE, "scales/smoke/map/x/colour", "red"),
    (LOWDOSE, "scales/smoke/reconstruction/engines", [{"sweeps": 3}]),
    (TUNING, "kind", ...),
    (TUNING, "data/second/step_b", 1),
    (TUNING, "objective/metrics", ["frc"]),
    (TUNING, "example/values", [1]),
    (DEPTH, "variants/0/step_b", 1),
    (DEPTH, "sample/defects/0/kind", "hole"),
    (DEPTH, "reconstruction/engines/0/costs", [{"kind": "layers", "weight": 1}]),
    (DEPTH, "scales/paper/potential/thermal/snapshots", 8),
    (TEMPLATE, "goal/doses_e_per_a2", []),
    (TEMPLATE, "instrument/conventions/defocus_positive", "over"),
    (TEMPLATE, "detector/override", {"fps": 1000}),
    (PLAN, "engines", []),
    (PLAN, "engines/0/constraints", [{"kind": "positivity", "qmax": 1}]),
    (PLAN, "kind", "reconstruction"),
    (PLAN, "scales", {}),
    (CALIBRATION, "voltage_kv", ...),
    (CALIBRATION, "step_a", [1, 2, 3]),
]  # fmt: skip

TAKEN = [
    (LOWDOSE, "kind", "experiment"),
    (LOWDOSE, "scales", None),
    (LOWDOSE, "scales/smoke", None),
    (LOWDOSE, "scales/paper/experiment", {"voltage_kv": 60}),
    (LOWDOSE, "scales/paper/space", {"step_a": {"low": 0.4}}),
    (LOWDOSE, "scales/paper/sample", {"twist_deg": 5}),
    (LOWDOSE, "scales/paper/map", None),
    (LOWDOSE, "potential/thermal", "none"),
    (LOWDOSE, "potential/thermal", {"kind": "debye_waller", "sigma_a": {"Mo": 0.05, "S": 0.07}}),
    (LOWDOSE, "experiment/detector_pixels", 64.0),
    (LOWDOSE, "reference/source_size_a", 0.3),
    (LOWDOSE, "reconstruction/engines/0/object_step", {"schedule": "linear", "start": 1, "end": 0.5, "sweeps": 9}),
    (LOWDOSE, "reconstruction/engines/0/schedules", {"probe_step": {"schedule": "constant", "start": 1}}),
    (TUNING, "data/second/drift_a", [0.1, 0.2]),
    (TUNING, "effects", "all"),
    (DEPTH, "variants", []),
    (DEPTH, "scales/paper/potential/thermal", {"configurations": 4}),
    (DEPTH, "scales/paper/potential/thermal", None),
    (DEPTH, "sample/film", None),
    (TEMPLATE, "detector/override", {"mtf_nyquist": {"80": 0.6}}),
    (TEMPLATE, "reconstruction", {"engines": [{"engine": "epie"}]}),
    (PLAN, "engines/0/resample", {"pixels": [64, 64]}),
    (CALIBRATION, "step_a", 0.5),
    (CALIBRATION, "step_a", [0.5, 0.6]),
]  # fmt: skip


@pytest.mark.parametrize("path, place, value", REFUSED)
def test_what_models_refuse_the_schema_refuses(path, place, value, validators):
    content = changed(content_of(path), place, value)
    assert not model_takes(kind_of(path), content)
    assert not validators[kind_of(path)].is_valid(content)


@pytest.mark.parametrize("path, place, value", TAKEN)
def test_what_models_take_the_schema_takes(path, place, value, validators):
    content = changed(content_of(path), place, value)
    assert model_takes(kind_of(path), content)
    assert not list(validators[kind_of(path)].iter_errors(content))


def test_every_key_of_a_schema_is_explained(validators):
    """Also those of the sections of a scale."""

    def check(schema, place):
        for name, one in schema.get("properties", {}).items():
            if place != ["scales"]:
                assert one.get("description"), [*place, name]

    for kind, validator in validators.items():
        check(validator.schema, [kind])
        for name, section in validator.schema["$defs"].items():
            assert section["description"]
            check(section, [kind, name])


def test_a_scale_requires_nothing(validators):
    parts = [d for v in validators.values() for name, d in v.schema["$defs"].items() if name.endswith("Part")]
    assert len(parts) > 40
    assert not any("required" in part for part in parts)
    assert not any("default" in one for part in parts for one in part.get("properties", {}).values())


def test_init_names_the_schema_of_this_installation(tmp_path, validators):
    path = tmp_path / "with a space.yaml"
    assert main(["init", str(path)]) == 0
    first, _, rest = path.read_text(encoding="utf-8").partition("\n")
    named = Path(url2pathname(urlparse(first.removeprefix(COMMENT)).path))
    assert named.is_absolute()
    assert json.loads(named.read_text(encoding="utf-8")) == validators["planning"].schema
    assert rest == TEMPLATE.read_text(encoding="utf-8").partition("\n")[2]
    assert " " not in first.removeprefix(COMMENT)


def test_a_file_without_a_schema_gets_its_line():
    line = f"{COMMENT}{schema_path('depth').as_uri()}\n"
    assert naming_schema("kind: depth\n", "depth") == f"{line}kind: depth\n"
    assert naming_schema(f"{COMMENT}elsewhere.json\nkind: depth\n", "depth") == f"{line}kind: depth\n"
