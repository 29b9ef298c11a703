"""What takes space on the disk: the lists of older APIs, and the sums of those since 1.52."""

import pytest

from gateway.rest.disk_usage import Usage
from gateway.rest.versions import Version

ALL = frozenset({"image", "container", "volume", "build-cache"})
USAGE = Usage(
    kinds=ALL, layers_size=100,
    images=[{"Size": 60, "SharedSize": 20, "Containers": 2}, {"Size": 60, "SharedSize": 20, "Containers": 0}],
    containers=[{"State": "running", "SizeRw": 5}, {"State": "exited", "SizeRw": 7}, {"State": "created"}],
    volumes=[{"UsageData": {"Size": 3, "RefCount": 1}}, {"UsageData": {"Size": 4, "RefCount": 0}},
             {"UsageData": {"Size": -1, "RefCount": 0}}],
    cache=[{"Size": 10, "InUse": True, "Shared": False}, {"Size": 20, "InUse": False, "Shared": False},
           {"Size": 40, "InUse": False, "Shared": True}],
)


def usage(**values):
    return Usage(**{**USAGE.__dict__, **values})


def test_sums_say_what_is_there_what_is_used_and_what_a_prune_would_free():
    assert USAGE.sums(verbose=False) == {
        "ImageUsage": {"ActiveCount": 1, "TotalCount": 2, "Reclaimable": 60, "TotalSize": 100},
        "ContainerUsage": {"ActiveCount": 1, "TotalCount": 3, "Reclaimable": 7, "TotalSize": 12},
        "VolumeUsage": {"ActiveCount": 1, "TotalCount": 3, "Reclaimable": 4, "TotalSize": 7},
        "BuildCacheUsage": {"ActiveCount": 1, "TotalCount": 3, "Reclaimable": 20, "TotalSize": 30},
    }


def test_entries_are_told_where_they_are_asked_for_and_where_there_are_some():
    made = usage(volumes=[]).sums(verbose=True)
    assert made["ImageUsage"]["Items"] == USAGE.images
    assert made["ContainerUsage"]["Items"] == USAGE.containers
    assert made["BuildCacheUsage"]["Items"] == USAGE.cache
    assert "Items" not in made["VolumeUsage"]


@pytest.mark.parametrize("version,keys", [
    ((1, 41), {"LayersSize", "BuilderSize", "Images", "Containers", "Volumes", "BuildCache"}),
    ((1, 42), {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}),
    ((1, 52), {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"}),
])
def test_the_lists_of_each_version(version, keys):
    assert set(USAGE.lists(Version(*version))) == keys


def test_kinds_that_were_not_asked_for_are_empty_lists_until_1_52_and_nothing_since():
    one = usage(kinds=frozenset({"volume"}))
    assert one.lists(Version(1, 51)) == {"Images": [], "Containers": [], "Volumes": USAGE.volumes, "BuildCache": []}
    assert one.lists(Version(1, 52)) == {"Volumes": USAGE.volumes}
    assert set(one.sums(verbose=True)) == {"VolumeUsage"}
