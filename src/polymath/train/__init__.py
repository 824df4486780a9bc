"""How a path is trained: recipes, and one rung of one experiment as a pure function of specs and addresses.

It knows nothing of which experiments are made, or why: that is the room `search`.
"""

from .job import Context, Facts, Job, Outcome, Point, planned_work
from .recipe import Augmentation, GradientRecipe, Recipe, parse_recipe

__all__ = [
    "Augmentation",
    "Context",
    "Facts",
    "GradientRecipe",
    "Job",
    "Outcome",
    "Point",
    "Recipe",
    "parse_recipe",
    "planned_work",
]
