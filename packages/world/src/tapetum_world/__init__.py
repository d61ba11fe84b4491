"""A synthetic physical world with exact ground truth, and what learns from it, as a package beside tapetum.

    bodies      the record of a physical episode: shapes, poses, contacts, actions, camera, light
    physics     MuJoCo simulates an episode of a seed, with a hand that acts
    rendering   images of an episode by ray tracing, and its ground truth: tracks, masks, boxes, depth
    sound       its sound, synthesised from contacts
    words       scene graphs, captions, and questions that cannot be answered without looking
    files       folders of images, episodes and films
    training    models and clips that are trained on them
    commands    what `tapetum` gains once this package is installed; its entry points say so

Importing this imports no torch. tapetum itself never imports it.
"""
