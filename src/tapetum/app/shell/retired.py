"""Verbs and options that left, and what took their place; read only where an unknown verb or option is met."""

_SEARCH = "tapetum embed --neighbours N lists what is most alike"

RETIRED: dict[tuple[str, str], str] = {
    # (words of a command, or those it begins with; option without dashes, "" for the whole): what to use instead
    ("", "cache-gb"): "copies of data at addresses stay in ~/.cache/tapetum/addresses until you delete them",
    ("", "gather-bf16"): "weights under --parallel fsdp travel in float32: leave it out",
    ("", "offload"): "--parallel fsdp over more processes leaves each a smaller part: leave it out",
    ("", "price"): "multiply the core-hours that --dry says by your price",
    ("", "reduce-bf16"): "gradients under --parallel fsdp travel in float32: leave it out",
    ("answer", "online"): "record what the camera sees, and give the file; track --online follows points as frames come",
    ("answer", "plan"): "tapetum train longvideo --dry counts a training",
    ("caption", "describe"): 'tapetum ask IMAGE "describe the image", with a vision-language model',
    ("completion", ""): "tapetum VERB --tyro-print-completion bash (or zsh, tcsh) completes the options of a verb",
    ("convert", "undo-swaps"): "correct the tracks: tapetum track --correct, or the page of tapetum serve",
    ("data annotate", ""): "write columns that you compute into a LeRobot data set with its own library",
    ("data check", ""): "the reader of a data set says what is missing when it is used",
    ("data demos", "film"): "tapetum.video.write_video writes frames of tapetum.systems.adapters.worlds.world.roll",
    ("data shards", "bytes-per-shard"): "give --samples-per-shard; a shard also ends where it has 1 GB",
    ("data show", ""): "tar -tvf SHARD lists the samples, and tapetum.data.shards.Shards reads them",
    ("doctor", "quick"): "doctor tries nothing any more: leave it out",
    ("doctor", "systems"): "run a verb with --device, which says what it lacks",
    ("embed", "plan"): "tapetum train longvideo --dry counts a training",
    ("eval itto", ""): "a benchmark of your own: docs/guides/bring-your-own.md",
    ("eval motion", ""): "TRAJAN of google-deepmind/tapnet",
    ("eval paligemma", "blind"): "tapetum eval scenes (package tapetum-world)",
    ("eval paligemma", "segment"): "tapetum eval scenes (package tapetum-world)",
    ("eval perception-test", "report"): "--json has all scores",
    ("hip", ""): "tapetum train hip --dry",
    ("pretrain", "device-augmentation"): "more --workers",
    ("pretrain", "device-decoding"): "more --workers",
    ("search", "alike"): _SEARCH,
    ("search", "clusters"): _SEARCH,
    ("search", "duplicates"): _SEARCH,
    ("search", "exact"): "search is always exact: leave it out",
    ("search", "index"): "give the index first: tapetum search INDEX WORDS",
    ("search", "map"): _SEARCH,
    ("search", "sheet"): "tapetum serve shows what is found with thumbnails; --json has all of it",
    ("search", "words"): "give the words after the index: tapetum search INDEX WORDS",
    ("segment", "tracker"): "--model NAME of a SAM 2 follows what is clicked",
    ("show perception-test", ""): "tapetum eval perception-test --json has all scores",
    ("show tracks", ""): "tapetum show TRACKS VIDEO",
    ("tapvid3d make", "experiment"): "Panoptic Studio takes the published annotations",
    ("track", "every"): "the network looks at every frame, at one size: leave it out",
    ("track", "realtime"): "frames that are late are dropped (--lag, and --drop for a pipe): leave it out",
    ("train hip", "how"): "hidden inputs are taken out: leave it out",
    ("train hip", "loss"): "the error is of what was hidden: leave it out",
    ("train odin", "cache-masks"): "masks are made in every step: leave it out",
    ("train paligemma", "contrastive-weight"): "tapetum pretrain siglip, then train paligemma --stage 1 --encoder RUN",
    ("train status", ""): "log.jsonl of the run, or --log-to tensorboard",
    ("train tap-small", ""): "tapetum train tap-nano --start NAME",
    ("train tapnext", "time-shards"): "fewer --frames, or more memory",
    ("weights check", "image"): "compare what the network computes with the library that it comes from",
}


def replacement(path: str, option: str = "") -> str:
    """Say what took the place of an option, or of a command if `option` is empty; "" if nothing of the name left.

    >>> replacement("tapetum doctor", "quick")
    'it left: doctor tries nothing any more: leave it out'
    """
    words = path.removeprefix("tapetum ").split()
    for count in range(len(words), -1, -1) if option else [len(words)]:
        if text := RETIRED.get((" ".join(words[:count]), option)):
            return f"it left: {text}"
    return ""
