// One tap that contradicts a verdict, through the API.
import { contradict } from "sightline-ui";

export default {
  props: { kind: String, words: String, result_id: String },
  emits: ["said"],
  data: () => ({ busy: false, done: false }),
  methods: {
    async tap() {
      this.busy = true;
      const answer = await contradict(this.result_id, this.kind);
      this.busy = false;
      this.done = answer.ok;
      this.$emit("said", answer);
    },
  },
  template: `<button type="button" class="sl-button sl-button--primary" :disabled="busy || done" @click="tap">{{ done ? "Noted" : words }}</button>`,
};
