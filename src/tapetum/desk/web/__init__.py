"""The local page of `tapetum serve`: an HTTP server for one folder of videos and images, in the user's own browser.

    server.py      the app (Starlette): page.py its requests; security.py who may ask; answers.py errors, bodies, live updates
    items.py       files of the folder (folder_files.py) by random ids, and uploads; frames.py their frames as JPEG
    edits.py       points on a video, and what edits do; undo and redo; database.py where all is saved
    jobs.py        long work, in processes that keep models loaded (workers.py, job_process.py, job_files.py): track_job.py,
                   look_job.py, and drawn films of exports.py
    tracks.py      what was tracked, and where to look next; exports.py files for other programs
    search.py      moments by words or like a frame; models.py what this machine has

Its state is stored in `.tapetum-web` in the folder (accessed through hidden.py), and is trusted no more than the folder.
starlette and uvicorn are imported only when it runs.
"""
