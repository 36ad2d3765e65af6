import { readFileSync } from "node:fs";
import solid from "vite-plugin-solid";
import { type Plugin, defineConfig } from "vitest/config";

// Where `npm run dev` finds the API; the built page is served by Vesta itself.
const api = process.env.VESTA_URL ?? "http://127.0.0.1:7171";

/** The OFL asks that its text goes wherever the fonts go. */
function fontLicences(): Plugin {
  return {
    name: "font-licences",
    apply: "build",
    generateBundle() {
      for (const font of ["inter", "jetbrains-mono"]) {
        const path = new URL(`node_modules/@fontsource-variable/${font}/LICENSE`, import.meta.url);
        this.emitFile({ type: "asset", fileName: `assets/${font}-OFL.txt`, source: readFileSync(path, "utf8") });
      }
    },
  };
}

export default defineConfig({
  plugins: [solid(), fontLicences()],
  build: {
    target: "es2022",
    // The page runs under `default-src 'self'`, which forbids data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": api, "/pprof": api } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
