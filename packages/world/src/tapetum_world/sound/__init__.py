"""Sound of a physical episode, synthesised from its contacts: impacts, rolling, sliding, pouring. Needs only numpy and scipy.

    Episode ─► touches ─► events (what is heard, when, how loud, in the image or not)
                  └─────► record ─► samples          materials say how each body rings

Every contact makes sound, including those outside the image. The microphone is at the camera.
"""

from tapetum_world.sound.recording import SoundEvents, record

__all__ = ["SoundEvents", "record"]
