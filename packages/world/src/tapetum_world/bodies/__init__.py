"""The record of a physical episode: bodies, their poses, contacts, actions. Needs only numpy.

    shapes      the geometry of a shape, one class each: the surfaces of which it is made, distance, mass, bounds, cavity
    episode     a body (shape, material, surface), and everything that happened: poses, camera, light, contacts, actions
    files       episodes as files

`physics` writes such a record, `rendering` makes images and ground truth from it, `sound` and `words` describe it. Units are
metres, kilograms, seconds and newtons; the world is right-handed with z up; a quaternion is (w, x, y, z).
"""
