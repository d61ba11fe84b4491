"""The local page of `tapetum serve`: an HTTP server for one folder of videos and images, in the user's own browser.

    server.py      the app (Starlette): routes; security.py who may ask; answers.py errors and bodies; events.py live updates
    items.py       files of the folder by random ids; frames.py their frames as JPEG; uploads.py new ones
    projects.py    points on a video: edits.py says what an edit does; undo and redo; database.py where all is saved
    jobs.py        long work, in processes that keep models loaded (workers.py, job_process.py): track_job.py, space_job.py,
                   look_job.py, index_job.py, export_job.py; job_requests.py what may be asked for; cleanup.py what goes if old
    tracks.py      what was tracked; space.py in space; check.py where to look next; exports.py files for other programs
    search.py      moments by words or like a frame; models.py, trackers.py what this machine has; runs.py ledgers and curves

Its state is stored in `.tapetum-web` in the folder (accessed through hidden.py), and is trusted no more than the folder.
starlette and uvicorn are imported only when it runs.
"""
