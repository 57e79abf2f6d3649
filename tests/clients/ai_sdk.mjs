// Calls of Vercel's AI SDK and of groq-sdk in a folder, to a service with a recording; prints one JSON object of texts.
import { createReadStream, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, name, url, path] = process.argv.slice(2);
const require = createRequire(join(folder, "package.json"));
const load = (module) => import(pathToFileURL(require.resolve(module)));
const version = (module) => JSON.parse(readFileSync(join(folder, "node_modules", module, "package.json"))).version;
const same = (found, expected) => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${JSON.stringify(found)} is not ${JSON.stringify(expected)}`);
};

const transcribe = async (model, providerOptions) => {
  const ai = await load("ai");
  const audio = readFileSync(path);
  return (ai.transcribe ?? ai.experimental_transcribe)({ model, audio, providerOptions });
};

const sdks = {
  "@ai-sdk/openai": async () => {
    const { createOpenAI } = await load("@ai-sdk/openai");
    const openai = createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
    const plain = await transcribe(openai.transcription("whisper-1"));
    const words = await transcribe(openai.transcription("whisper-1"), { openai: { timestampGranularities: ["word"] } });
    const gpt4o = await transcribe(openai.transcription("gpt-4o-mini-transcribe"), {
      openai: { timestampGranularities: ["word"], language: "en" },
    });
    same([words.segments.length > 2, words.segments[0].startSecond, plain.language], [true, 0, plain.language]);
    return { plain: plain.text, words: words.text, gpt4o: gpt4o.text };
  },
  "@ai-sdk/groq": async () => {
    const { createGroq } = await load("@ai-sdk/groq");
    const groq = createGroq({ baseURL: `${url}/openai/v1`, apiKey: "none" });
    const plain = await transcribe(groq.transcription("whisper-1"));
    const verbose = await transcribe(groq.transcription("whisper-1"), {
      groq: { responseFormat: "verbose_json", timestampGranularities: ["segment"] },
    });
    same([verbose.segments.length, verbose.durationInSeconds], [1, 2]);
    return { plain: plain.text, verbose: verbose.text };
  },
  "groq-sdk": async () => {
    const { Groq } = require("groq-sdk");
    const client = new Groq({ baseURL: url, apiKey: "none" });
    const plain = await client.audio.transcriptions.create({ file: createReadStream(path), model: "whisper-1" });
    return { plain: plain.text };
  },
};

console.log(JSON.stringify({ version: version(name), texts: await sdks[name]() }));
