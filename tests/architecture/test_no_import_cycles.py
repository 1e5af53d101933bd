from graphlib import CycleError, TopologicalSorter

import grimp
import pytest


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports within functions count too: none of the three packages has a circle of modules."""
    graph = grimp.build_graph("sweephand", "functions", "infra", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert {"sweephand.app", "functions.tick", "infra.cli.app"} <= imports.keys()
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as problem:
        pytest.fail(" → ".join(problem.args[1]))
