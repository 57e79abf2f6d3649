// Calls of openai-node in a folder, to a base URL with a recording; prints one JSON object of answers.
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

const [folder, baseURL, path] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const { OpenAI, toFile } = require("openai");
const version = JSON.parse(readFileSync(join(folder, "node_modules", "openai", "package.json"))).version;

const client = new OpenAI({ baseURL, apiKey: "none", timeout: 60_000 });
const file = () => createReadStream(path);
const transcribe = (fields) => client.audio.transcriptions.create({ file: file(), model: "whisper-1", ...fields });
const all = async (events) => {
  const found = [];
  for await (const event of await events) found.push(event);
  return found;
};

const calls = {
  version: async () => version,
  json: () => transcribe({}),
  logprobs: () => transcribe({ response_format: "json", include: ["logprobs"] }),
  verbose_json: () =>
    transcribe({ response_format: "verbose_json", timestamp_granularities: ["word", "segment"], language: "en" }),
  text: () => transcribe({ response_format: "text" }),
  srt: () => transcribe({ response_format: "srt", prompt: "Kennedy" }),
  vtt: () => transcribe({ response_format: "vtt", temperature: 0 }),
  server_vad: () => transcribe({ chunking_strategy: { type: "server_vad", threshold: 0.4 } }),
  stream: () => all(transcribe({ stream: true })),
  slow_stream: () => all(transcribe({ stream: true, prompt: "slow 1" })), // so that comments come before events
  translation: () =>
    client.audio.translations.create({ file: file(), model: "whisper-1", response_format: "verbose_json" }),
  models: async () => (await client.models.list()).data,
  model: () => client.models.retrieve("Systran/faster-whisper-base"),
  wrong_model: () => transcribe({ model: "whisper-9" }),
  wrong_words: () => transcribe({ response_format: "srt", timestamp_granularities: ["word"] }),
  wrong_file: async () => transcribe({ file: await toFile(Buffer.from("not a recording"), "a.mp3") }),
};

const outcomes = {};
for (const [name, call] of Object.entries(calls)) {
  try {
    outcomes[name] = await call();
  } catch (error) {
    if (error.status === undefined) throw error;
    outcomes[name] = { error: { status: error.status, ...error.error } };
  }
}
console.log(JSON.stringify(outcomes));
