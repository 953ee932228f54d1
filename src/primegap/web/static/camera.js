// Turns pictures (files, clipboard, this computer's camera) into PNG or JPEG blobs for a scanner.

export function watchPictures({ drop, file, onPicture }) {
  const take = async (files) => {
    for (const item of files) {
      if (item.type.startsWith("image/")) await onPicture(item);
    }
  };
  file.addEventListener("change", async () => { await take(file.files); file.value = ""; });
  for (const name of ["dragenter", "dragover"]) {
    drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  }
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
}

export class Viewfinder {
  constructor(video, onPicture, { everyMs = 250 } = {}) {
    this.video = video;
    this.onPicture = onPicture;
    this.everyMs = everyMs;
    this.stream = null;
  }
  get running() { return this.stream !== null; }
  async start() {
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    this.video.srcObject = this.stream;
    this.video.hidden = false;
    await this.video.play();
    const canvas = document.createElement("canvas");
    while (this.stream) {
      canvas.width = this.video.videoWidth;
      canvas.height = this.video.videoHeight;
      canvas.getContext("2d").drawImage(this.video, 0, 0);
      const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.85));
      if (this.stream && blob) await this.onPicture(blob);
      await new Promise((done) => setTimeout(done, this.everyMs));
    }
  }
  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.hidden = true;
  }
}
