"""Memory of sharded weights where units are not alike."""

from tapetum.account.cluster import Layout, Unit, count_memory


def test_the_two_largest_units_are_gathered_at_a_time_wherever_they_stand() -> None:
    large = Unit(shapes=((100,),), learning=((100,),))  # 400 bytes, and as many of gradients
    small = Unit(shapes=((10,),), learning=((10,),))
    outer = Unit(shapes=((7,),), learning=(), outermost=True)  # 8 with padding, never let go of, and without gradients
    for units in ([large, large, small, outer], [small, outer, large, large], [large, small, outer, large]):
        memory = count_memory(units, Layout(shards=2), 5)
        assert (memory.gathered, memory.activations) == (2 * 800 + 32, 5)
        assert memory.weights == 4 * (50 + 50 + 5 + 4)
        assert (memory.gradients, memory.moments) == (4 * 105, 8 * 105)
        assert count_memory(units, Layout(shards=1), 0).gathered == 0
