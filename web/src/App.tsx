/** The page: items on the left, tabs beside them. */
import { useRef } from "preact/hooks";
import { useCell } from "./cell";
import { GridDialog } from "./GridDialog";
import { Help } from "./Help";
import { Items } from "./Items";
import { LookTab } from "./LookTab";
import { ModelList } from "./ModelList";
import { SearchTab } from "./SearchTab";
import * as state from "./state";
import { type Tab, TABS } from "./state";
import { TrackTab } from "./TrackTab";

const CONTENT = { track: TrackTab, image: LookTab, search: SearchTab };

export function App() {
  const tab = useCell(state.tab);
  const app = useCell(state.app);
  const Content = CONTENT[tab];
  return (
    <>
      <header class="top">
        <h1>tapetum</h1>
        <TabList />
        <Connection />
        <button type="button" class="quiet" onClick={() => (state.choosing.value = true)}>
          Models
        </button>
        <button type="button" class="quiet" onClick={() => (state.helping.value = true)} aria-keyshortcuts="?">
          Keys
        </button>
      </header>
      <Problem />
      <div class="body">
        <Items />
        <main>
          <div id="content" role="tabpanel" aria-labelledby={`tab-${tab}`} class={`tab-${tab}`}>
            {app ? <Content /> : <p class="empty">Opening the folder</p>}
          </div>
        </main>
      </div>
      <Help />
      <ModelList />
      <GridDialog />
    </>
  );
}

function TabList() {
  const tab = useCell(state.tab);
  const list = useRef<HTMLDivElement>(null);
  const names = Object.keys(TABS) as Tab[];
  const turn = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    state.tab.value = names[(names.indexOf(tab) + step + names.length) % names.length];
    requestAnimationFrame(() => list.current?.querySelector<HTMLElement>("[aria-selected=true]")?.focus());
  };
  return (
    <div role="tablist" aria-label="What to do" ref={list} onKeyDown={turn}>
      {names.map((name) => (
        <button
          key={name}
          type="button"
          role="tab"
          id={`tab-${name}`}
          aria-selected={name === tab}
          aria-controls="content"
          tabIndex={name === tab ? 0 : -1}
          onClick={() => (state.tab.value = name)}
        >
          {TABS[name]}
        </button>
      ))}
    </div>
  );
}

function Connection() {
  const connected = useCell(state.connected);
  return (
    <span class="connection" role="status">
      {connected ? "" : "No connection to the server; trying again"}
    </span>
  );
}

function Problem() {
  const problem = useCell(state.problem);
  const tab = useCell(state.tab);
  const text = problem?.tab === tab ? problem.text : "";
  return (
    <div role="alert" class={text ? "problem" : "problem none"}>
      {text && (
        <>
          <span>{text}</span>
          <button type="button" class="quiet" onClick={() => (state.problem.value = null)}>
            Close
          </button>
        </>
      )}
    </div>
  );
}
