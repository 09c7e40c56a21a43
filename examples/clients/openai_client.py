"""RayRAFT with the openai client: `python examples/clients/openai_client.py "How long ...?"`.

RAYRAFT_URL says where the service is, RAYRAFT_API_KEY the key where it has keys.
"""

import os
import sys

from openai import OpenAI

QUESTION = "How long is the warranty?"


def main(question: str) -> None:
    """Asks once as a whole and once as a stream, and embeds the question."""
    url = os.environ.get("RAYRAFT_URL", "http://127.0.0.1:8000")
    client = OpenAI(base_url=f"{url}/v1", api_key=os.environ.get("RAYRAFT_API_KEY", "unused"))
    messages = [{"role": "user", "content": question}]

    reply = client.chat.completions.create(
        model="rayraft/rag", messages=messages, extra_body={"rayraft": {"k": 4}}
    )
    print("answer:", reply.choices[0].message.content)
    for citation in reply.rayraft["citations"]:
        print(f"  {citation['document_id']}: {citation['quote']}")

    stream = client.chat.completions.create(model="rayraft", messages=messages, stream=True)
    print("streamed:", "".join(chunk.choices[0].delta.content or "" for chunk in stream))

    vectors = client.embeddings.create(model="rayraft/embedding", input=[question])
    print("embedded:", len(vectors.data[0].embedding), "numbers")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else QUESTION)
