import { render } from "preact";
import "./app.css";
import { App } from "./App";
import { listen } from "./events";
import { listenToKeys } from "./keys";
import { attempt, keepAddress, loadApp, readAddress } from "./state";

render(<App />, document.getElementById("page")!);
listenToKeys();
void attempt(loadApp).then(() => {
  readAddress();
  keepAddress();
  window.addEventListener("hashchange", readAddress);
  listen();
});
