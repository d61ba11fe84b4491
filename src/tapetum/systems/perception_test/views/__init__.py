"""Views for a person: a page for a video, a report for a run; each one HTML file without network or foreign code."""
