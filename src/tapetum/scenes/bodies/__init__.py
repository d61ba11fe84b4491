"""The record of a physical episode: bodies, where they were, what touched what, who did what. Numpy alone.

    shapes      what a body looks like to a ray and to a simulator
    body        a shape with a name, a material and a surface
    episode     everything that happened: poses at moments, camera, light, contacts, actions, containment

`physics` writes such a record, `rendering` makes images and truth of it, `sound` and `words` tell of it. Units are metres,
kilograms, seconds and newtons; the world is right-handed with z up; a quaternion is (w, x, y, z).
"""
