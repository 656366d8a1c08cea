"""From a proposal to the next version of a recipe, and on to the cells that work by it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import select

from cloud.db.recipe_tables import ProposalState, PushedRecipe, RecipeProposal
from cloud.db.session import Database
from cloud.errors import ConflictError, InvalidError
from cloud.operating_points import Proposals
from cloud.recipes import Push, Recipes
from models.contract.recipe import ExpectedObject, ForbiddenDefect, Recipe

MAX_LOOKED_AT = 1_000
Item = TypeVar("Item", ExpectedObject, ForbiddenDefect)


def with_thresholds(recipe: Recipe, thresholds: Mapping[str, float], *, version: int) -> Recipe:
    """The recipe with these scores wherever it speaks of their categories.

    Raises:
        InvalidError: it speaks of none of them.
    """
    if not recipe.categories & set(thresholds):
        raise InvalidError(f"{recipe.recipe_id} speaks of no {', '.join(sorted(thresholds))}")
    views = tuple(
        view.model_copy(
            update={
                "expected": _scored(view.expected, thresholds),
                "forbidden": _scored(view.forbidden, thresholds),
            }
        )
        for view in recipe.views
    )
    return recipe.model_copy(update={"views": views, "version": version})


def _scored(items: Iterable[Item], thresholds: Mapping[str, float]) -> tuple[Item, ...]:
    return tuple(
        item.model_copy(update={"min_score": thresholds[item.category]})
        if item.category in thresholds
        else item
        for item in items
    )


class RecipeDrafts:
    """Brings proposals into recipes that the cloud has sent before.

    Args:
        database: Holds what was sent.
        proposals: What people propose.
        recipes: Sends the next version.
    """

    def __init__(self, database: Database, proposals: Proposals, recipes: Recipes) -> None:
        self._database = database
        self._proposals = proposals
        self._recipes = recipes

    def known(self) -> list[str]:
        """Recipes that cells were sent, by name: only these can be sent again."""
        query = select(PushedRecipe.recipe_id).distinct().order_by(PushedRecipe.recipe_id)
        with self._database.read() as session:
            return list(session.scalars(query))

    def send(self, proposal_id: int, recipe_id: str, *, actor: str) -> list[Push]:
        """Send the recipe's next version, with the proposed scores, to every cell that has it.

        Raises:
            NotFoundError: there is no such proposal.
            ConflictError: it was decided before, or the cloud never sent this recipe.
            InvalidError: the recipe speaks of none of the categories.
        """
        proposal = self._proposals.get(proposal_id)
        if proposal.state is not ProposalState.OPEN:
            raise ConflictError(f"proposal {proposal_id} was {proposal.state} already")
        rows = self._sent(recipe_id)
        if not rows:
            raise ConflictError(
                f"the cloud never sent {recipe_id}: change min_score in the recipe's file"
            )
        newest = Recipe.model_validate(rows[0].recipe)
        recipe = with_thresholds(newest, _scores(proposal), version=newest.version + 1)
        pushes = self._recipes.push(recipe, sorted({row.cell for row in rows}), actor=actor)
        self._proposals.decide(proposal_id, accept=True, actor=actor)
        return pushes

    def _sent(self, recipe_id: str) -> Sequence[PushedRecipe]:
        """What was sent of a recipe, the newest version first."""
        query = (
            select(PushedRecipe)
            .where(PushedRecipe.recipe_id == recipe_id)
            .order_by(PushedRecipe.version.desc(), PushedRecipe.id.desc())
            .limit(MAX_LOOKED_AT)
        )
        with self._database.read() as session:
            return session.scalars(query).all()


def _scores(proposal: RecipeProposal) -> dict[str, float]:
    return {name: float(value) for name, value in proposal.thresholds.items()}
