"""Where channels sit: one function for each organisation, and the similarity that their distances ask for."""

# name -> function (channels) -> positions; paths, so that reading the names imports no torch
POSITIONS: dict[str, str] = {
    "grid2d": "topotune.topography.positions:grid2d",
    "grid3d": "topotune.topography.positions:grid3d",
    "circle": "topotune.topography.positions:circle",
    "sphere": "topotune.topography.positions:sphere",
    "nested2d": "topotune.topography.positions:nested2d",
    "nested3d": "topotune.topography.positions:nested3d",
    "line": "topotune.topography.positions:line",
}

DISTANCES = ("euclidean", "l1")
