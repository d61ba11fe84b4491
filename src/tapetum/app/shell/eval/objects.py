"""`tapetum eval objects`: how well objects are found without labels."""

from dataclasses import dataclass

from tapetum.app.evaluate_objects import ObjectsOptions, evaluate_objects
from tapetum.app.shell.output import print_json, terminal


@dataclass(frozen=True, kw_only=True)
class Objects(ObjectsOptions):
    """Score how well objects are found without labels, on COCO's masks or VOC's boxes.

    ABO and OR: how well the best of all masks of k-means, for 1 to 128 clusters of the features of an image, covers each
    object. CorLoc: how often the one box that is said is right. Scores from 0 to 1.
    """

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            found = evaluate_objects.run(self, listener)
        if self.json:
            print_json(found.as_json())
            return
        print(f"{found.images:,} images, seen by {found.model}")
        if found.abo is not None:
            print(f"ABO     {found.abo:.3f}  best overlap with one of {found.proposals:,} proposals")
            print(f"OR      {found.object_recovery:.3f}  objects with one above 0.5")
        print(f"CorLoc  {found.corloc:.3f}  images whose one box is right")
