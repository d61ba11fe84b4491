/** Questions to models about the frame; what they find is drawn on it. */
import { useState } from "preact/hooks";
import { cancel, isBusy } from "./actions";
import { useCell } from "./cell";
import { SHADES } from "./draw";
import { JobProgress } from "./JobPanel";
import { askModel, look as lookCell, lookResult, type LookResult, type Verb } from "./look";
import { ModelChoice, Remarks } from "./ModelChoice";
import { useLacking, useModels } from "./models";
import * as state from "./state";
import { Transport } from "./TrackTab";
import { Viewer } from "./Viewer";

const VERBS: Record<Verb, { name: string; label: string; hint: string; needed: boolean }> = {
  ask: { name: "Ask", label: "Question", hint: "what colour is the ball?", needed: true },
  caption: { name: "Caption", label: "", hint: "", needed: false },
  detect: { name: "Detect", label: "Things to find", hint: "cat ; red ball", needed: true },
  segment: { name: "Segment", label: "Thing to cut out", hint: "red ball", needed: true },
  classify: {
    name: "Classify",
    label: "Labels, with commas between (none: those of ImageNet)",
    hint: "a dog, a cat",
    needed: false,
  },
};

export function LookTab() {
  const item = useCell(state.item);
  if (!item) return <p class="empty">Choose an image or a video on the left.</p>;
  return (
    <>
      <section class="centre" aria-label="Frame">
        <Viewer overlay="look" />
        <Transport />
      </section>
      <aside class="side" aria-label="Questions to models">
        <Form />
        <Result />
      </aside>
    </>
  );
}

function Form() {
  const [verb, setVerb] = useState<Verb>("ask");
  const [texts, setTexts] = useState<Partial<Record<Verb, string>>>({});
  const text = texts[verb] ?? "";
  const setText = (next: string) => setTexts({ ...texts, [verb]: next });
  const job = useCell(lookCell)?.job;
  const [chosen, setChosen] = useState("");
  const own = verb === "classify" ? (text.trim() ? "words" : "classify") : "answer";
  const models = useModels(own);
  const lacking = useLacking(own);
  const model = models?.find((each) => each.name === chosen) ?? models?.[0];
  const about = VERBS[verb];
  const busy = isBusy(job);
  const send = (event: Event) => {
    event.preventDefault();
    void askModel(verb, text, models?.some((each) => each.name === chosen) ? chosen : "");
  };
  return (
    <form class="panel" onSubmit={send}>
      <fieldset class="verbs">
        <legend>About this frame</legend>
        {(Object.keys(VERBS) as Verb[]).map((each) => (
          <label key={each}>
            <input type="radio" name="verb" checked={verb === each} onChange={() => setVerb(each)} />
            <span>{VERBS[each].name}</span>
          </label>
        ))}
      </fieldset>
      {about.label && (
        <label class="field">
          {about.label}
          <input type="text" value={text} placeholder={about.hint} onInput={(event) => setText(event.currentTarget.value)} />
        </label>
      )}
      <div class="row">
        <button type="submit" class="primary" disabled={busy || (about.needed && !text.trim())}>
          {about.name}
        </button>
        {busy && job && (
          <button type="button" onClick={() => cancel(job)}>
            Cancel
          </button>
        )}
      </div>
      {busy && job && <JobProgress job={job} />}
      <ModelChoice models={models} chosen={model?.name ?? ""} choose={setChosen} />
      <Remarks lines={model?.remarks ?? lacking} />
    </form>
  );
}

function Result() {
  const look = useCell(lookCell);
  const result = useCell(lookResult);
  const item = useCell(state.item);
  const frame = useCell(state.frame);
  const busy = isBusy(look?.job);
  const said = busy ? "The model is at work." : result ? summary(result) : "";
  const elsewhere = result && (result.item !== item?.id || result.frame !== frame);
  return (
    <section class={result || busy ? "panel result" : "panel result none"} aria-label="Answer">
      <p role="status" class={!busy && (result?.verb === "ask" || result?.verb === "caption") ? "answer" : "soft"}>
        {said}
      </p>
      {result && (
        <>
          {result.classes.length > 0 && (
            <table class="classes">
              <tbody>
                {result.classes.slice(0, 10).map((each) => (
                  <tr key={each.name}>
                    <th scope="row">{each.name}</th>
                    <td class="bar-cell">
                      <meter min={0} max={1} value={each.probability} aria-label={`Share of ${each.name}`} />
                    </td>
                    <td class="number">{`${(100 * each.probability).toFixed(1)} %`}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          <Regions rows={result.boxes.length ? result.boxes : result.masks} />
          {elsewhere && (
            <button type="button" onClick={() => void state.choose(result.item, result.frame)}>
              {`Go to frame ${result.frame}, which it is about`}
            </button>
          )}
          {result.model && <p class="soft small">{result.model}</p>}
        </>
      )}
    </section>
  );
}

function Regions({ rows }: { rows: { label: string; score: number }[] }) {
  if (!rows.length) return null;
  return (
    <table>
      <tbody>
        {rows.map((each, k) => (
          <tr key={k}>
            <td>
              <Swatch color={SHADES[k % SHADES.length]} />
            </td>
            <th scope="row">{each.label || "thing"}</th>
            <td class="number">{each.score.toFixed(2)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Swatch({ color }: { color: string }) {
  return (
    <svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">
      <rect width="12" height="12" rx="2" fill={color} />
    </svg>
  );
}

function summary(result: LookResult): string {
  const found = result.boxes.length || result.masks.length;
  if (result.verb === "detect" || result.verb === "segment") {
    return found ? `${found} found on frame ${result.frame}.` : `Nothing of this was found on frame ${result.frame}.`;
  }
  if (result.verb === "classify" && !result.fits) return "None of these labels fits; the closest are:";
  if (result.verb === "classify") return `Most likely: ${result.classes[0]?.name ?? "nothing"}.`;
  return result.text || "The model said nothing.";
}
