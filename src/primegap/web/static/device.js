// The device page: draws the frames that come over the live socket and sends touches back.
import { Viewfinder, watchPictures } from "./camera.js";

const canvas = document.getElementById("screen");
const context = canvas.getContext("2d");
const state = document.getElementById("state");
const verdict = document.getElementById("verdict");
let socket = null;
let retryMs = 250;

function say(element, text, kind = "") {
  element.textContent = text;
  element.dataset.state = kind;
}

function connect() {
  socket = new WebSocket(`ws://${location.host}/live`);
  socket.binaryType = "blob";
  socket.onopen = () => { retryMs = 250; say(state, "Live", "good"); };
  socket.onmessage = async (event) => {
    const image = await createImageBitmap(event.data);
    canvas.width = image.width;
    canvas.height = image.height;
    context.drawImage(image, 0, 0);
    canvas.dataset.frames = String(Number(canvas.dataset.frames ?? 0) + 1);
  };
  socket.onclose = () => {
    say(state, "The device does not answer. It may have stopped.", "bad");
    setTimeout(connect, retryMs);
    retryMs = Math.min(retryMs * 2, 5000);
  };
}

function touch(phase, event) {
  const box = canvas.getBoundingClientRect();
  const x = Math.round((event.clientX - box.left) * canvas.width / box.width);
  const y = Math.round((event.clientY - box.top) * canvas.height / box.height);
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ phase, x, y }));
}

let down = false;
canvas.addEventListener("pointerdown", (event) => {
  down = true;
  canvas.setPointerCapture(event.pointerId);
  touch("down", event);
});
canvas.addEventListener("pointermove", (event) => { if (down) touch("move", event); });
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => { if (down) { down = false; touch("up", event); } });
}
canvas.addEventListener("contextmenu", (event) => event.preventDefault());

const verdicts = {
  read: ["The device read a code.", "good"],
  nothing: ["No QR code in this picture.", "bad"],
  unreadable: ["This is not a picture the camera can read.", "bad"],
  idle: ["The device is not scanning now.", "bad"],
};

async function holdUp(blob) {
  const answer = await fetch("/picture", { method: "POST", body: blob });
  const result = answer.ok ? (await answer.json()).verdict : "unreadable";
  say(verdict, ...(verdicts[result] ?? verdicts.unreadable));
}

watchPictures({ drop: document.getElementById("drop"), file: document.getElementById("file"), onPicture: holdUp });
const camera = document.getElementById("camera");
const viewfinder = new Viewfinder(document.getElementById("viewfinder"), holdUp);
camera.addEventListener("click", async () => {
  if (viewfinder.running) {
    viewfinder.stop();
    camera.textContent = "Use the camera";
    return;
  }
  camera.textContent = "Stop the camera";
  try {
    await viewfinder.start();
  } catch {
    viewfinder.stop();
    camera.textContent = "Use the camera";
    say(verdict, "The browser gives no access to a camera.", "bad");
  }
});
connect();
