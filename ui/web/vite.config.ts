import { defineConfig } from "vitest/config";
import solid from "vite-plugin-solid";

// Where `npm run dev` finds the API; the built page is served by Vesta itself.
const api = process.env.VESTA_URL ?? "http://127.0.0.1:7171";

export default defineConfig({
  plugins: [solid()],
  build: {
    target: "es2022",
    // The page runs under `default-src 'self'`, which forbids data: URLs.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
  server: { proxy: { "/api": api, "/pprof": api } },
  test: { environment: "node", include: ["src/**/*.test.ts"] },
});
