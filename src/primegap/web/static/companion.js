// The companion's pages: pictures, the animated code, copying, and whether the page is still fed.
import { Viewfinder, watchPictures } from "./camera.js";

const CAMERA_EVERY_MS = 120;

// -- pictures ---------------------------------------------------------------------------------

function say(element, text, state = "") {
  element.textContent = text;
  element.dataset.state = state;
}

async function read(action, blob) {
  const answer = await fetch(action, { method: "POST", body: blob, headers: { Accept: "application/json" } });
  try {
    return await answer.json();
  } catch {
    return { verdict: "refused", hint: "The companion did not understand this picture." };
  }
}

const GOOD = { new: "Read. Hold the next one up.", duplicate: "Read already. Hold the next one up.", read: "Read." };

function wirePictures(box) {
  if (box.dataset.wired) return;
  box.dataset.wired = "yes";
  const verdict = box.querySelector("[data-verdict]");
  const video = box.querySelector("video");
  const camera = box.querySelector("[data-camera]");
  const drop = box.querySelector("[data-with-script]");
  box.querySelector("[data-without-script]").hidden = true;
  drop.hidden = false;

  const show = async (blob, quiet) => {
    let result;
    try {
      result = await read(box.dataset.pictures, blob);
    } catch {
      say(verdict, "The companion does not answer.", "bad");
      return;
    }
    if (result.go) {
      stop();
      location.assign(result.go);
    } else if (result.text !== undefined) {
      stop();
      fill(result.text);
      say(verdict, GOOD.read, "good");
    } else if (GOOD[result.verdict]) {
      say(verdict, GOOD[result.verdict], "good");
    } else if (!(quiet && result.verdict === "nothing")) {
      say(verdict, result.hint ?? "This picture could not be used.", "bad");
    }
  };
  const viewfinder = new Viewfinder(video, (blob) => show(blob, true), { everyMs: CAMERA_EVERY_MS });
  const stop = () => {
    viewfinder.stop();
    camera.textContent = "Use the camera";
  };
  watchPictures({ drop, file: box.querySelector("[data-file]"), onPicture: (blob) => show(blob, false) });
  camera.addEventListener("click", async () => {
    if (viewfinder.running) return stop();
    camera.textContent = "Stop the camera";
    try {
      await viewfinder.start();
    } catch {
      stop();
      say(verdict, "The browser gives no access to a camera.", "bad");
    }
  });
}

function fill(text) {
  const field = document.getElementById("recipient");
  if (!field) return;
  field.value = text;
  field.focus();
}

// -- the animated code ------------------------------------------------------------------------

function wireFrames(image) {
  let number = 1;
  const next = async () => {
    number += 1;
    const frame = new Image();
    frame.src = `${image.dataset.frames}${number}.svg?density=${image.dataset.density}`;
    try {
      await frame.decode();
      image.src = frame.src;
    } catch {
      number -= 1; // the companion is away for a moment
    }
  };
  setInterval(next, Number(image.dataset.period));
}

// -- small things -----------------------------------------------------------------------------

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const label = button.dataset.label ?? button.textContent;
  button.dataset.label = label;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Select and copy by hand";
  }
  setTimeout(() => { button.textContent = label; }, 1600);
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-once]");
  if (!form) return;
  for (const button of form.querySelectorAll("button")) button.disabled = true;
});
// A page that comes back from the browser's memory can be sent again.
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll("form[data-once] button")) button.disabled = false;
});

function wire() {
  document.querySelectorAll("[data-pictures]").forEach(wirePictures);
  const go = document.querySelector("[data-go]");
  if (go) location.replace(go.dataset.go);
}

document.querySelectorAll("img[data-frames]").forEach(wireFrames);
wire();
document.addEventListener("htmx:after:settle", wire);

// -- live -------------------------------------------------------------------------------------

const offline = document.getElementById("offline");
let lost = null;
document.addEventListener("htmx:after:ws:connection", () => {
  clearTimeout(lost);
  lost = null;
  offline.hidden = true;
  document.body.dataset.live = "yes";
});
document.addEventListener("htmx:ws:close", () => {
  document.body.dataset.live = "no";
  // Not at once: a page that is being left loses its socket too.
  lost ??= setTimeout(() => { offline.hidden = false; }, 1500);
});
