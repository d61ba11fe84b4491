"""Views for a person: a page for a video, a report for a run; each one HTML file without network or foreign code."""

from tapetum.systems.perception_test.views.page import write_page

__all__ = ["write_page"]
