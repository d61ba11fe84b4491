import { render } from "preact";
import "./app.css";
import { App } from "./App";
import { listen } from "./events";
import { listenToKeys } from "./keys";
import { attempt, keepAddress, loadApp, readAddress } from "./state";

render(<App />, document.getElementById("page")!);
listenToKeys();
// A file that is dropped beside the list does not take the page away.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
let begun = false;
listen(() => {
  if (begun) return;
  begun = true;
  void attempt(loadApp).then(() => {
    readAddress();
    keepAddress();
    window.addEventListener("hashchange", readAddress);
  });
});
