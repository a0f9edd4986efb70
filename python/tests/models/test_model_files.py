"""The text of every definition: its header, its signature and its oracle agree."""
import inspect
import re

import oracles
import pytest
import signature

# What the library must hold, whatever else it holds.
REQUIRED = """linear_attn retention lightning_attn simple_gla mamba2 gla hgrn hgrn2 rwkv4 rwkv6 rwkv7
iplr_delta_rule dplr_delta_rule delta_rule gated_delta_rule delta_product gated_delta_product comba kda gdn2
precond_gated_delta_rule precond_kda abc gsa based rebased lightnet rodimus gated_oja_rule mamba mamba3
short_conv""".split()

every_definition = pytest.mark.parametrize("stem", signature.STEMS)


def test_library_is_complete():
    assert set(REQUIRED) <= set(signature.STEMS)


@every_definition
def test_file_stem_names_the_definition(stem):
    assert signature.read(stem).name == stem


@every_definition
def test_header_holds_equation_citation_and_class(stem):
    header = [line[2:].strip() for line in (signature.MODELS / f"{stem}.mlir").read_text().splitlines() if line.startswith("//")]
    text = " ".join(header)
    assert re.search(r"_t = ", text), "the equation"
    assert re.search(r"arXiv:\d{4}\.\d{4,5} \(20\d\d\)", text), "the paper"
    assert "Class: " in text


@every_definition
def test_oracle_has_the_definitions_arguments_and_defaults(stem):
    definition = signature.read(stem)
    parameters = inspect.signature(getattr(oracles, stem)).parameters
    names = [argument.name for argument in (*definition.arguments, *definition.states)]
    assert sorted(parameters) == sorted(names)
    for argument in definition.arguments:
        default = parameters[argument.name].default
        given = argument.attrs.get("default")
        if stem == "gated_delta_rule_gates" and argument.name == "beta":
            assert default is None and given is None  # follows optional gates in the oracle's Python signature
        elif given is None:
            assert default is inspect.Parameter.empty
        else:
            assert default is None and given == 0.0 or default == given


@every_definition
def test_table_of_definitions_lists_it_with_its_arguments(stem):
    table = (signature.MODELS.parents[1] / "docs" / "definitions.md").read_text().splitlines()
    row = next(line for line in table if line.startswith(f"| [`{stem}`]"))
    names = re.findall(r"`\[?(\w+)(?:=[^`]*)?`", row.split("|")[-3])
    assert names == [argument.name for argument in signature.read(stem).arguments]
